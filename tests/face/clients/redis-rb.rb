# Writes through Sentinel with redis-rb: one key after the other, each acknowledged one on a line of its own.
require "redis"

endpoints, name, prefix, password = ARGV
sentinels = endpoints.split(",").map do |place|
  host, _, port = place.rpartition(":")
  password.to_s.empty? ? { host: host, port: port.to_i } : { host: host, port: port.to_i, password: password }
end
master = Redis.new(url: "redis://#{name}", sentinels: sentinels, role: :master, timeout: 0.5, reconnect_attempts: 0)
$stdout.sync = true
number = 0
loop do
  number += 1
  key = "#{prefix}-#{number}"
  begin
    puts key if master.set(key, number) == "OK"
  rescue Redis::BaseError
    # The next command looks the master up anew: a refused write leaves the connection as it is.
    master.close
    sleep 0.005
  end
  sleep 0.002
end
