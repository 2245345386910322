"""What is measured by hand; pyarrow 17 has a package of this name too, which must not come first."""
