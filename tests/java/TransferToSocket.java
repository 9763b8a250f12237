import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;

/** Serves a file once, by transferTo, to whoever connects. Says on which port, then how many bytes it sent. */
public class TransferToSocket {
    public static void main(String[] args) throws Exception {
        try (FileChannel source = FileChannel.open(Path.of(args[0]));
                ServerSocketChannel listener = ServerSocketChannel.open()) {
            listener.bind(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
            System.out.println("port " + listener.socket().getLocalPort() + ".");
            try (SocketChannel peer = listener.accept()) {
                long size = source.size();
                long sent = 0;
                while (sent < size) {
                    sent += source.transferTo(sent, size - sent, peer);
                }
                peer.shutdownOutput();
                peer.read(ByteBuffer.allocate(1));
                System.out.println("sent " + sent);
            }
        }
    }
}
