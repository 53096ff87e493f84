"""Scene to image to film, plots and the report page; knows no simulation."""
