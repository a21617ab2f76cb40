//! Who solves a graph.
