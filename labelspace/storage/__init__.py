"""Files, locks and the model hub: what lies on a disk, or comes from one."""
