"""Reports as self-contained HTML: of a run, of several runs, of a sweep."""
