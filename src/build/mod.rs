//! The corridor: one build is recipe -> graph -> snapshot -> artifact.
