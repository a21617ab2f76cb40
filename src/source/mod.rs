//! Bytes from outside, pinned by digest.
