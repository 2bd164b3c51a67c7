package hub

// TextAttribute is textAttribute, for tests.
var TextAttribute = textAttribute
