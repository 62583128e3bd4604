"""Definition of sampling: methods, border rules, spline filters, layouts of positions, surrogates and blends."""
