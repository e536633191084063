"""Reference back end: plain torch with autograd, any device, memory R x K."""
