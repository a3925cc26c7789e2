"""What tests share: servers, databases, records in a given state. Nothing here asserts; tests do."""
