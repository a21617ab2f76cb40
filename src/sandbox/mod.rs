//! One step in its own namespaces.
