//! From a built tree to dist/.
