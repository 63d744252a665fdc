//! The async shell around llmd-routing: an OpenAI-shaped reverse proxy that knows the caches of its engines.
