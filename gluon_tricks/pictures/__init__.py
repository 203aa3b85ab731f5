"""How figures and curves are drawn: SVG and PNG, 80 mm wide, by matplotlib, which is imported when it is needed."""
