"""Token usage for tests."""

from schemas.entries import Usage

NO_USAGE = Usage(input_tokens=0, cached_input_tokens=0, output_tokens=0, reasoning_tokens=0)
