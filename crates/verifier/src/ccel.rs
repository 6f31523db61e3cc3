//! CCEL: the event log of a TDX guest, replayed against its runtime registers.
