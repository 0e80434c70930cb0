// SPDX-License-Identifier: GPL-2.0-only
import java.io.*;
import java.net.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

/**
 * Store PORT: a store that speaks as much of memcached's protocol as its client does, a thread for each connection.
 * Items are arrays of bytes and lists of strings, which the collector moves about; a reader gets what both have.
 */
public class Store {
    record Item(byte[] data, List<String> parts) {}

    static final Map<String, Item> items = new ConcurrentHashMap<>();

    static Item item(byte[] data) {
        List<String> parts = new ArrayList<>();
        for (int at = 0; at < data.length; at += 512)
            parts.add(new String(data, at, Math.min(512, data.length - at), StandardCharsets.ISO_8859_1));
        return new Item(data, parts);
    }

    static String line(InputStream in) throws IOException {
        StringBuilder line = new StringBuilder();
        for (int c; (c = in.read()) != '\n';) {
            if (c < 0)
                return null;
            line.append((char) c);
        }
        return line.toString().trim();
    }

    static void serve(Socket socket) {
        try (socket) {
            InputStream in = new BufferedInputStream(socket.getInputStream());
            OutputStream out = new BufferedOutputStream(socket.getOutputStream());
            for (String line; (line = line(in)) != null; out.flush()) {
                String[] words = line.split(" ");
                if (words[0].equals("set")) {
                    int size = Integer.parseInt(words[4]);
                    byte[] data = in.readNBytes(size);
                    if (in.readNBytes(2).length < 2)
                        return;
                    items.put(words[1], item(data));
                    out.write("STORED\r\n".getBytes());
                } else {
                    Item item = items.get(words[1]);
                    byte[] data = String.join("", item.parts()).getBytes(StandardCharsets.ISO_8859_1);
                    if (!Arrays.equals(data, item.data()))
                        data = "data and parts differ".getBytes();
                    out.write(("VALUE " + words[1] + " 0 " + data.length + "\r\n").getBytes());
                    out.write(data);
                    out.write("\r\nEND\r\n".getBytes());
                }
            }
        } catch (IOException e) {
            // A client has gone.
        }
    }

    public static void main(String[] args) throws IOException {
        ServerSocket server = new ServerSocket(Integer.parseInt(args[0]));
        for (;;) {
            Socket socket = server.accept();
            new Thread(() -> serve(socket)).start();
        }
    }
}
