import java.io.FileOutputStream;

/** Appends records of 60 bytes to a file, each by a write. */
public class AppendStream {
    public static void main(String[] args) throws Exception {
        int count = Integer.parseInt(args[1]);
        byte[] record = "x".repeat(59).concat("\n").getBytes();
        try (FileOutputStream target = new FileOutputStream(args[0], true)) {
            for (int i = 0; i < count; i++) {
                target.write(record);
            }
        }
    }
}
