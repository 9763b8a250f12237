import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/** Maps a file and adds its bytes up. */
public class MapAndRead {
    public static void main(String[] args) throws Exception {
        try (FileChannel source = FileChannel.open(Path.of(args[0]))) {
            MappedByteBuffer mapped = source.map(FileChannel.MapMode.READ_ONLY, 0, source.size());
            long sum = 0;
            while (mapped.hasRemaining()) {
                sum += mapped.get() & 0xff;
            }
            System.out.println("sum " + sum);
        }
    }
}
