-- What share of the input tokens had the providers cached?
SELECT tenant, provider, model,
       sum(input_tokens) AS input_tokens,
       sum(cached_input_tokens) AS cached_input_tokens,
       round(sum(cached_input_tokens) / sum(input_tokens)::numeric, 4) AS share
FROM facts.attempt
WHERE received_at >= '2026-01-01Z' AND received_at < '2026-04-01Z'
GROUP BY tenant, provider, model
HAVING sum(input_tokens) > 0
ORDER BY tenant, provider, model;
