//! A fleet of simulated engines: vLLM's caches, events and metrics, with published step times.
