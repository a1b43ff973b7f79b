"""Reading of dataset files: text tables, their columns, RecBole atomic files, media folders, published checksums."""
