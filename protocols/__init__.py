"""Ground floor: contracts, data and evaluation. Imports none of the other packages."""
