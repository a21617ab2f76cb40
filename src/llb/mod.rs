//! BuildKit LLB: graphs and their bytes.
