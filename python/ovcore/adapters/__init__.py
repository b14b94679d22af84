"""ovcore in other libraries' terms, one library a module; whoever uses one imports it."""
