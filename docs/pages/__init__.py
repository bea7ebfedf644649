"""Documents that are made from the code: one file a page, each with `document()`."""
