"""Tables, figures and pages made from run records. No torch here."""
