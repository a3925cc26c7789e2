"""The services, what they stand on, and the commands around them; who may import whom is in ``pyproject.toml``."""
