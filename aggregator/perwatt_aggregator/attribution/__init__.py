"""Attribution: a node's window cut into parts with one owner each, and their joules at the node."""
