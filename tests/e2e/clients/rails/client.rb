require "active_record"
require "yaml"

file, query = ARGV
ActiveRecord::Base.establish_connection(YAML.load_file(file).fetch("production"))
begin
  puts ActiveRecord::Base.connection.select_value(query)
rescue ActiveRecord::ActiveRecordError => error
  abort error.message
end
