"""What a reader sees: the build of figures, and the extension that puts figures, cells and numbers on pages."""
