"""What draws the charts: in a browser (:mod:`on_page`) and for a paper (:mod:`on_paper`)."""
