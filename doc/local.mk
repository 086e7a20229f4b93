# The manual.
