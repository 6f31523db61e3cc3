//! Event logs as firmware writes them.
