"""Attribution: a node's window divided into parts with one owner each, and their joules at the node."""
