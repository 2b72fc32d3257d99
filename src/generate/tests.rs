//! The generator as a whole, on inputs made for one point each.
