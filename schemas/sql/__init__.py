"""The database: migrations, and named queries; read as package data."""
