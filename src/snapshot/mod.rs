//! Trees on disk: prepared, committed, viewed, merged.
