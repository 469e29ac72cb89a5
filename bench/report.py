def write_documentation(results): pass
