"""What `lightline-predict batch` is made of: inputs, places, answers, parts, progress."""
