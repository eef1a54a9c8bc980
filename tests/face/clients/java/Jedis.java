import java.time.Duration;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;
import redis.clients.jedis.DefaultJedisClientConfig;
import redis.clients.jedis.HostAndPort;
import redis.clients.jedis.JedisSentineled;
import redis.clients.jedis.exceptions.JedisException;

/** Writes through Sentinel with Jedis: one key after the other, each acknowledged one on a line of its own. */
class Jedis {
  public static void main(String[] words) throws Exception {
    Set<HostAndPort> sentinels =
        Arrays.stream(words[0].split(",")).map(HostAndPort::from).collect(Collectors.toSet());
    var timeout = DefaultJedisClientConfig.builder().timeoutMillis(500).build();
    var toSentinel = DefaultJedisClientConfig.builder().timeoutMillis(500);
    if (!words[3].isEmpty()) toSentinel.password(words[3]);
    try (var client = new JedisSentineled(words[1], timeout, sentinels, toSentinel.build())) {
      for (int number = 1; ; number++) {
        String key = words[2] + "-" + number;
        try {
          if ("OK".equals(client.set(key, Integer.toString(number)))) System.out.println(key);
        } catch (JedisException error) {
          Thread.sleep(5);
        }
        Thread.sleep(2);
      }
    }
  }
}
