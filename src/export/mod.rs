//! A solved tree or image becomes files.
