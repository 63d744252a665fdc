//! What others need to test their own code against ours: conformance suites, and models that are slow and obviously
//! right.
