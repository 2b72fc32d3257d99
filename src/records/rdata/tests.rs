//! Tests of all types together.
