"""tlog inside of other people's frameworks. Nothing here imports them, so none of them is needed to install tlog."""
