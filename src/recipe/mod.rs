//! What we build: parse, validate and lower recipes; pure.
