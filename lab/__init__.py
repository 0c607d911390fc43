"""The lab, where claims are tested: the bench that measures us beside our peers."""
