"""Plain torch modules. They don't know that they are trained, composed or carried."""
