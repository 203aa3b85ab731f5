"""FCN on ADE20K (section 6.2)."""
