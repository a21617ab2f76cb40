//! Trees to layer tars and back.
